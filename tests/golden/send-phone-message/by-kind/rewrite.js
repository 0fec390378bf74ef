// Made from a send-phone-message hook by bulkhooks (rewrite); sha256 of its script: 29b9af37e736c42d...
exports.onExecuteSendPhoneMessage = async (event) => {
  if (event.message_options.message_type === 'voice') {
    throw new Error('no voice');
  }
  console.log(event.message_options.recipient, event.message_options.text, event.message_options.action, event.request?.language, event.user.name);
};
