// Made from a pre-user-registration hook by bulkhooks (rewrite); sha256 of its script: e10795bf803faf4b...
const MESSAGES = { en: 'You are not allowed to register.', es: 'No tienes permitido registrarte. \u00a1Ol\u00e9! ñandú 🎉' };

exports.onExecutePreUserRegistration = async (event, api) => {
  if (/spam/i.test(event.user.email)) {
    const message = MESSAGES[event.transaction?.locale] || MESSAGES.en;
    return api.access.deny('Denied user registration', message);
  }
};
