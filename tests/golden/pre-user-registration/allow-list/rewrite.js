// Made from a pre-user-registration hook by bulkhooks (rewrite); sha256 of its script: 87e4b13fbdb42aaf...
exports.onExecutePreUserRegistration = async (event, api) => {
  const allowed = event.secrets.DOMAINS;
  const domain = event.user.email.split('@')[1].toLowerCase();
  if (!allowed || !allowed.split(',').includes(domain)) {
    return api.access.deny('domain ' + domain + ' is not allowed', 'Sorry, you may not sign up.');
  }
};
