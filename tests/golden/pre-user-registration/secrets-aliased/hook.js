module.exports = function (user, ctx, cb) {
  var self = this;
  var task = ctx.webtask;
  const { secrets } = task;
  self.done = cb;
  if (secrets['KEY'] === 'k-1') return self.done(null, { user: { app_metadata: { k: secrets.KEY, d: new Date(0) } } });
  return self.done(new PreUserRegistrationError('bad key'));
};
