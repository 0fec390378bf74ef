module.exports = function (user, context, cb) {
  console.log('registered', user.id, context.connection.tenant, context.connection.id);
  if (user.emailVerified) console.info({ phone: user.phoneNumber, ok: user.phoneNumberVerified });
  cb(null);
};
