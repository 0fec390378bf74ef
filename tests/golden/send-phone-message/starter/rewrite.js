// Made from a send-phone-message hook by bulkhooks (rewrite); sha256 of its script: 4f6a1dc28548c711...
exports.onExecuteSendPhoneMessage = async (event) => {
  // TODO: Add your code here
};
