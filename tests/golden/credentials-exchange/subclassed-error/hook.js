class Nope extends InvalidScopeError {
  constructor() { super('nope'); }
}
exports = module.exports = hook;
function hook(client, scope, audience, context, cb) {
  setTimeout(() => cb(scope.length > 1 ? null : new Nope(), { scope: scope }), 10);
}
