// Made from a credentials-exchange hook by bulkhooks (rewrite); sha256 of its script: b9ef334cee2f2e7e...
exports.onExecuteCredentialsExchange = async (event, api) => {
  if (event.accessToken.scope.includes('admin')) return api.access.deny("server_error", "no admins");
  api.access.deny("server_error", `later, ${event.client.name}`);
};
