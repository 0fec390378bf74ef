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
