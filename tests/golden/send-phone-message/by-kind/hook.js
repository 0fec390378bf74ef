module.exports = function (recipient, text, context, cb) {
  if (context.message_type === 'voice') {
    return cb(new Error('no voice'));
  }
  console.log(recipient, text, context.action, context.language, context.user.name);
  cb(null, {});
};
