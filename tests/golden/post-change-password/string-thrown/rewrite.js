// Made from a post-change-password hook by bulkhooks (rewrite); sha256 of its script: ff4ad1395db7e22a...
exports.onExecutePostChangePassword = async (event) => {
  if (event.user.username) throw 'a text';
  throw 'another';
};
