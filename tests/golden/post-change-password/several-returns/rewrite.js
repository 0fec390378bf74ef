// Made from a post-change-password hook by bulkhooks (rewrite); sha256 of its script: 4a532991a1323e18...
exports.onExecutePostChangePassword = async (event) => {
  if (!event.user.username) {
    return;
  }
  for (const name of ['ann', 'eve']) {
    if (event.user.username === name) throw new Error(`changed: ${name}`);
  }
  throw new Error('who is it?');
};
