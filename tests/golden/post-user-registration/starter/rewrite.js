// Made from a post-user-registration hook by bulkhooks (rewrite); sha256 of its script: b8f8b60f1f8506ec...
exports.onExecutePostUserRegistration = async (event) => {
  // Perform any asynchronous actions, e.g. send notification to Slack.
};
