module.exports = function (user, context, cb) {
  if (user.username) { cb(null, { user: { user_metadata: { late } } }); }
  const late = 'late';
  cb(null, { user: { user_metadata: { late } } });
};
