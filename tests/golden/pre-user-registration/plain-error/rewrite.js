// Made from a pre-user-registration hook by bulkhooks (rewrite); sha256 of its script: c82963b51c7ccc87...
exports.onExecutePreUserRegistration = async (event, api) => {
  if (!event.user.username) {
    api.access.deny('username wanted');
  } else {
    setMetadata(api, { user: { app_metadata: { username: event.user.username } } });
  }
};

// A hook answered in JSON: what is undefined in it was left out. Only metadata was taken of it.
function setMetadata(api, response) {
  const { user } = JSON.parse(JSON.stringify({ response })).response ?? {};
  for (const [key, value] of Object.entries(user?.user_metadata ?? {})) {
    api.user.setUserMetadata(key, value);
  }
  for (const [key, value] of Object.entries(user?.app_metadata ?? {})) {
    api.user.setAppMetadata(key, value);
  }
}
