module.exports = function (user, context, cb) {
  if (user.username) return cb(undefined, { user: { user_metadata: null, app_metadata: { zero: 0, no: null, list: [1, undefined] } } });
  if (context.request) return cb('', 'a text');
  return cb(0, null);
};
