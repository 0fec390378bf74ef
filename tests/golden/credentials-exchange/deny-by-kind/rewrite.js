// Made from a credentials-exchange hook by bulkhooks (rewrite); sha256 of its script: e35f9fddaae2f95c...
exports.onExecuteCredentialsExchange = async (event, api) => {
  if (event.resource_server.identifier.indexOf('other') > -1) {
    return api.access.deny("invalid_scope", 'Not for ' + event.resource_server.identifier);
  }
  if (event.client.name === 'Blocked') {
    api.access.deny("invalid_request", 'blocked');
  } else {
    api.accessToken.setCustomClaim('https://acme.example/ok', true);
  }
};
