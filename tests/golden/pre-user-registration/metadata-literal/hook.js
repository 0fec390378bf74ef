module.exports = function (user, context, cb) {
  cb(null, {
    user: {
      user_metadata: { language: context.renderLanguage, via: context.connection.name },
      app_metadata: { vip: true, score: 7, ip: context.request && context.request.ip }
    }
  });
};
