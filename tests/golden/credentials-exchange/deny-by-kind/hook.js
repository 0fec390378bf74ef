module.exports = function (client, scope, audience, context, cb) {
  if (audience.indexOf('other') > -1) {
    return cb(new InvalidScopeError('Not for ' + audience));
  }
  if (client.name === 'Blocked') {
    return cb(new InvalidRequestError('blocked'));
  } else {
    cb(null, { scope: scope, 'https://acme.example/ok': true });
  }
};
