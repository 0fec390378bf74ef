#!/usr/bin/env node
const onUser = function (user, context, next) {
  const hash = require('crypto').createHash('sha256').update(user.email).digest('hex');
  console.log(hash);
  process.nextTick(next);
};

module.exports = onUser;
