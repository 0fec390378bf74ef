// Made from a credentials-exchange hook by bulkhooks (rewrite); sha256 of its script: c818d95fd919b0d0...
exports.onExecuteCredentialsExchange = async (event, api) => {
  setClaims(api, { scope: event.accessToken.scope, 'https://acme.example/name': event.client.name, "https://acme.example/none": undefined, "https://acme.example/n": 7 });
};

// A hook answered in JSON: what is undefined in it was left out. The scope stays as it was granted.
function setClaims(api, response) {
  const answer = JSON.parse(JSON.stringify({ response })).response;
  const { scope, ...claims } = answer instanceof Object ? answer : {};
  for (const [claim, value] of Object.entries(claims)) {
    api.accessToken.setCustomClaim(claim, value);
  }
}
