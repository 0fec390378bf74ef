module.exports = function (user, context, cb) {
  if (!user.username) cb(new Error('no username'));
  cb(null, { user: { user_metadata: { name: user.username } } });
};
