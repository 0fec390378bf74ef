module.exports = function (user, context, cb) {
  if (!user.emailVerified) return cb(new Error('not verified: ' + user.email));
  if (!user.username) return cb(new RangeError('no name'));
  return cb(null, user);
};
