module.exports = function (user, context, cb) {
  const allowed = context.webtask.secrets.DOMAINS;
  const domain = user.email.split('@')[1].toLowerCase();
  if (!allowed || !allowed.split(',').includes(domain)) {
    return cb(new PreUserRegistrationError('domain ' + domain + ' is not allowed', 'Sorry, you may not sign up.'));
  }
  return cb(null, {});
};
