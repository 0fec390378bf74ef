module.exports = function (user, context, cb) {
  let left = 3;
  const tick = () => {
    console.log(left, arguments.length);
    if (--left === 0) cb(user.username ? null : new Error('out'));
    else setTimeout(tick, 100);
  };
  tick();
};
