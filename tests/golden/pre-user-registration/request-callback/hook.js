module.exports = function (user, context, cb) {
  const request = require('request@2.88.0');
  request.get({ url: context.webtask.secrets.API_URL + '/check', qs: { email: user.email } }, function (err, resp, body) {
    if (err) return cb(new PreUserRegistrationError(err.message, 'Try again later'));
    if (resp.statusCode !== 200) return cb(new Error('status ' + resp.statusCode));
    cb(null, { user: { app_metadata: { checked: body.ok } } });
  });
};
