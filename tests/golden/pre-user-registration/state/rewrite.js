// Made from a pre-user-registration hook by bulkhooks (rewrite); sha256 of its script: 284763738f753d28...
let calls = 0;
const seen = new Set();
exports.onExecutePreUserRegistration = async (event, api) => {
  calls += 1;
  seen.add(event.user.email);
  setMetadata(api, { user: { app_metadata: { calls: calls, seen: [...seen].length } } });
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
