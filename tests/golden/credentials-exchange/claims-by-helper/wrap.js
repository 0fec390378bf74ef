// Made from a credentials-exchange hook by bulkhooks (wrap); sha256 of its script: c3a8fc47b0579f64...
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
'use strict';

function claims(client) {
  const made = {};
  for (const name of Object.keys(client.metadata)) {
    made['https://acme.example/' + name] = client.metadata[name];
  }
  return made;
}

module.exports = function handler(client, scope, audience, context, done) {
  const token = Object.assign({ scope: scope }, claims(client));
  done(null, token);
  done(new Error('twice'));
};
});
