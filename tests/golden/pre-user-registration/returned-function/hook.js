module.exports = (function () {
  var limits = { Users: 3, Partners: 0 };
  return function (user, context, cb) {
    cb(limits[context.connection.name] ? null : 'nobody from ' + context.connection.name, { user: { app_metadata: limits } });
  };
})();
