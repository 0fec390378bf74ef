const MESSAGES = { en: 'You are not allowed to register.', es: 'No tienes permitido registrarte. \u00a1Ol\u00e9! ñandú 🎉' };

module.exports = function (user, context, cb) {
  if (/spam/i.test(user.email)) {
    const message = MESSAGES[context.renderLanguage] || MESSAGES.en;
    return cb(new PreUserRegistrationError('Denied user registration', message));
  }
  cb();
};
