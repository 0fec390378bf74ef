// Made from a post-change-password hook by bulkhooks (wrap); sha256 of its script: 0065a38f419d1904...
exports.onExecutePostChangePassword = ((load) => {
  const globals = {};

  const given = (event) => {
    const { user, context } = copy({
      user: {
        id: event.user.user_id?.replace(/^[^|]*\|/, ""), // without the connection before it
        username: event.user.username,
        email: event.user.email,
        last_password_reset: event.user.last_password_reset,
      },
      context: {
        requestLanguage: event.request?.language,
        request: event.request,
        connection: { ...event.connection, tenant: event.tenant?.id },
        webtask: { secrets: event.secrets ?? {} },
      },
    });
    return [user, context];
  };

  // Nobody waits for it: what it answers means nothing, and an error goes to the tenant's logs.
  const taken = () => undefined;
  const finish = ({ error }) => {
    if (error) throw error;
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

  return async (event) => {
    finish(await run(given(event)));
  };
})(() => function (exports, require, module) {
function line(user, { connection: { tenant, name } }) {
  return [tenant, name, user.id, user.username].filter(Boolean).join('/');
}

module.exports = function (user, context, cb) {
  console.log(line(user, context));
  cb();
};
});
