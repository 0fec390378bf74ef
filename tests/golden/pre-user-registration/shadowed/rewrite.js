// Made from a pre-user-registration hook by bulkhooks (rewrite); sha256 of its script: abbb1d8027db8d8c...
exports.onExecutePreUserRegistration = async (event, api) => {
  const auth0 = { configuration: 1 };
  function inner(context, require) {
    return require('x@1') + context.nothing;
  }
  const text = "require('y@2.0.0'); auth0.users; module.exports = 1"; // require('z@3.0.0')
  const pattern = /require\('q@1'\)|`/g;
  const template = `context.webtask.storage ${inner({ nothing: '!' }, (name) => name)} \${no}`;
  setMetadata(api, { user: { user_metadata: { a: auth0.configuration, text, p: pattern.source, template } } });
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
