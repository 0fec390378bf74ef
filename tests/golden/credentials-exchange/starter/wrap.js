// Made from a credentials-exchange hook by bulkhooks (wrap); sha256 of its script: ee824501e2e29472...
exports.onExecuteCredentialsExchange = ((load) => {
  class InvalidScopeError extends Error {}
  class InvalidRequestError extends Error {}
  class ServerError extends Error {}
  const globals = { InvalidScopeError, InvalidRequestError, ServerError };

  const given = (event) => {
    const { client, scope, audience, context } = copy({
      client: {
        name: event.client?.name,
        id: event.client?.client_id,
        tenant: event.tenant?.id,
        metadata: event.client?.metadata,
      },
      scope: event.accessToken?.scope,
      audience: event.resource_server?.identifier,
      context: {
        clientID: event.client?.client_id,
        requestLanguage: event.request?.language,
        request: event.request,
        webtask: { secrets: event.secrets ?? {} },
      },
    });
    return [client, scope, audience, context];
  };

  const taken = (response) => copy({ response }).response;
  const finish = ({ error, response }, api) => {
    if (error) {
      const code =
        error instanceof InvalidScopeError
          ? "invalid_scope"
          : error instanceof InvalidRequestError
            ? "invalid_request"
            : "server_error";
      api.access.deny(code, String(error.message ?? error));
      return;
    }
    // An action cannot change the scope of a token: it stays as it was granted.
    const { scope, ...claims } = response instanceof Object ? response : {};
    for (const [claim, value] of Object.entries(claims)) {
      api.accessToken.setCustomClaim(claim, value);
    }
  };

  // The hook's file, run once as a module of its own, when the action is loaded.
  const module = { exports: {} };
  load(globals).call(module.exports, module.exports, require, module);
  const hook = module.exports;

  // A hook was given, and gave, JSON: what it changes is its own, and undefined is left out.
  const copy = (value) => JSON.parse(JSON.stringify(value));

  // Ends at the first call of the callback, now or later; further calls mean nothing. What is
  // thrown before that fails the action, as it failed the hook. Without a call there is no end.
  const run = (given) =>
    new Promise((resolve, reject) => {
      const callback = (error, response) => {
        try {
          resolve(error ? { error } : { response: taken(response) });
        } catch (broken) {
          reject(broken);
        }
      };
      const returned = hook(...given, callback);
      if (returned instanceof Promise) returned.then(undefined, reject);
    });

  return async (event, api) => {
    finish(await run(given(event)), api);
  };
})(({ InvalidScopeError, InvalidRequestError, ServerError }) => function (exports, require, module) {
/**
@param {object} client - client information
@param {array|undefined} scope - the token's scope claim
@param {function} cb - function (error, accessTokenClaims)
*/
module.exports = function(client, scope, audience, context, cb) {
  var access_token = {};
  access_token.scope = scope; // do not remove this line
  access_token['https://acme.example/plan'] = client.metadata.plan;
  access_token['https://acme.example/tenant'] = client.tenant;
  cb(null, access_token);
};
});
