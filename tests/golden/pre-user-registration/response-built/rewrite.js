// Made from a pre-user-registration hook by bulkhooks (rewrite); sha256 of its script: 1b8e5c6c86b4b873...
exports.onExecutePreUserRegistration = async (event, api) => {
  var response = { user: {} };
  response.user.app_metadata = { domain: event.user.email.split('@').pop() };
  if (event.user.phone_number) {
    response.user.user_metadata = { phone: event.user.phone_number };
  }
  setMetadata(api, response);
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
