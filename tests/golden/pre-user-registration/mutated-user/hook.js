module.exports = function (user, context, cb) {
  user.user_metadata = user.user_metadata || {};
  user.user_metadata.seen = true;
  user.app_metadata = Object.assign({ plan: 'free' }, user.app_metadata);
  delete user.email;
  cb(null, { user });
};
