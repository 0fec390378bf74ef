module.exports = function (recipient, text, context, cb) {
  const twilio = require('twilio@3.54.0')(context.webtask.secrets.SID, context.webtask.secrets.KEY);
  twilio.messages
    .create({ to: recipient, from: context.client.client_metadata.sender, body: text })
    .then(function () { cb(null, { MessageID: '1' }); })
    .catch(function (err) { cb(err); });
};
