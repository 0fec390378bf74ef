module.exports = function (user, context, cb) {
  if (!user.username) {
    return cb();
  }
  for (const name of ['ann', 'eve']) {
    if (user.username === name) return cb(new Error(`changed: ${name}`));
  }
  throw new Error('who is it?');
};
