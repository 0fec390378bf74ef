module.exports = function (user, context, callback) {
  if (!user.username) {
    callback(new Error('username wanted'));
  } else {
    callback(null, { user: { app_metadata: { username: user.username } } });
  }
};
