// Made from a pre-user-registration hook by bulkhooks (wrap); sha256 of its script: 79f43a7ad96162db...
exports.onExecutePreUserRegistration = ((load) => {
  class PreUserRegistrationError extends Error {
    constructor(message, userMessage) {
      super(message);
      this.userMessage = userMessage;
    }
  }
  const globals = { PreUserRegistrationError };

  const given = (event) => {
    const { user, context } = copy({
      user: {
        tenant: event.tenant?.id,
        username: event.user.username,
        email: event.user.email,
        phoneNumber: event.user.phone_number,
        name: event.user.name,
        given_name: event.user.given_name,
        family_name: event.user.family_name,
        nickname: event.user.nickname,
        picture: event.user.picture,
        user_metadata: event.user.user_metadata,
        app_metadata: event.user.app_metadata,
      },
      context: {
        clientID: event.client?.client_id,
        requestLanguage: event.request?.language,
        renderLanguage: event.transaction?.locale,
        request: event.request,
        connection: { ...event.connection, tenant: event.tenant?.id },
        webtask: { secrets: event.secrets ?? {} },
      },
    });
    return [user, context];
  };

  const taken = (response) => copy({ response }).response;
  const finish = ({ error, response }, api) => {
    if (error) {
      const reason = String(error.message ?? error);
      if (error.userMessage === undefined) api.access.deny(reason);
      else api.access.deny(reason, error.userMessage);
      return;
    }
    // Of the user that a hook answers with, only metadata was taken.
    const { user_metadata, app_metadata } = response?.user ?? {};
    for (const [key, value] of Object.entries(user_metadata ?? {})) {
      api.user.setUserMetadata(key, value);
    }
    for (const [key, value] of Object.entries(app_metadata ?? {})) {
      api.user.setAppMetadata(key, value);
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
})(({ PreUserRegistrationError }) => function (exports, require, module) {
module.exports = async function (user, context, cb) {
  cb(null, { user: { app_metadata: { first: true } } });
  throw new Error('too late for ' + user.email);
};
});
