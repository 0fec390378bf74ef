module.exports = function (user, context, cb) {
  const request = require('request');
  request.post({
    url: context.webtask.secrets.API_URL + '/mail/send',
    headers: { Authorization: 'Bearer ' + context.webtask.secrets.KEY },
    json: { to: user.email, text: 'The password of your ' + context.connection.name + ' account was changed.' }
  }, function (err, resp, body) {
    if (err || resp.statusCode !== 202) {
      return cb(err || new Error('status ' + resp.statusCode));
    }
    cb();
  });
};
