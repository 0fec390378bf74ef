module.exports = function (user, context, cb) {
  const hobby = user.user_metadata.hobby.toUpperCase();
  cb(null, { user: { user_metadata: { hobby } } });
};
