module.exports = function () {
  var args = Array.prototype.slice.call(arguments);
  console.log(args[0], args.length);
  args[args.length - 1](args[0].startsWith('+33') ? new Error('France is out') : null);
};
