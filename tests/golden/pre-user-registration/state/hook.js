let calls = 0;
const seen = new Set();
module.exports = function (user, context, cb) {
  calls += 1;
  seen.add(user.email);
  cb(null, { user: { app_metadata: { calls: calls, seen: [...seen].length } } });
};
