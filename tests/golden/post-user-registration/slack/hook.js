module.exports = function (user, context, cb) {
  const request = require('request');
  const message = 'New user: ' + (user.username || user.email) + ' (' + user.id + ')';
  request.post({ url: context.webtask.secrets.API_URL, json: { text: message, verified: user.emailVerified } });
  cb();
};
