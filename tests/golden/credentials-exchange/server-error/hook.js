module.exports = function (client, scope, audience, context, cb) {
  if (scope.includes('admin')) return cb(new Error("no admins"));
  return cb(new ServerError(`later, ${client.name}`));
};
