module.exports = function (user, context, cb) {
  setTimeout(function () {
    console.log(user.username.toUpperCase());
    cb();
  }, 5);
};
