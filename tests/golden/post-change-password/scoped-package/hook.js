const { send } = require('@acme/notify@2.3.4');
module.exports = function (user, context, cb) {
  send({ id: user.id, at: user.last_password_reset || 'never' }, cb);
};
