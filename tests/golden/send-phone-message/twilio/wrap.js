// Made from a send-phone-message hook by bulkhooks (wrap); sha256 of its script: 9c16b860426c6167...
exports.onExecuteSendPhoneMessage = ((load) => {
  const globals = {};

  const given = (event) => {
    const { recipient, text, context } = copy({
      recipient: event.message_options.recipient,
      text: event.message_options.text,
      context: {
        message_type: event.message_options.message_type,
        action: event.message_options.action,
        language: event.request?.language,
        code: event.message_options.code,
        ip: event.request?.ip,
        user_agent: event.request?.user_agent,
        clientID: event.client?.client_id,
        requestLanguage: event.request?.language,
        request: event.request,
        client: {
          client_id: event.client?.client_id,
          name: event.client?.name,
          client_metadata: event.client?.metadata,
        },
        user: {
          user_id: event.user?.user_id,
          name: event.user?.name,
          email: event.user?.email,
          app_metadata: event.user?.app_metadata,
          user_metadata: event.user?.user_metadata,
        },
        webtask: { secrets: event.secrets ?? {} },
      },
    });
    return [recipient, text, context];
  };

  // What it answers means nothing; an error says that no message went out.
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
module.exports = function (recipient, text, context, cb) {
  const twilio = require('twilio')(context.webtask.secrets.SID, context.webtask.secrets.KEY);
  twilio.messages
    .create({ to: recipient, from: context.client.client_metadata.sender, body: text })
    .then(function () { cb(null, { MessageID: '1' }); })
    .catch(function (err) { cb(err); });
};
});
