module.exports = function (user, context, cb) {
  const auth0 = { configuration: 1 };
  function inner(context, require) {
    return require('x@1') + context.nothing;
  }
  const text = "require('y@2.0.0'); auth0.users; module.exports = 1"; // require('z@3.0.0')
  const pattern = /require\('q@1'\)|`/g;
  const template = `context.webtask.storage ${inner({ nothing: '!' }, (name) => name)} \${no}`;
  cb(null, { user: { user_metadata: { a: auth0.configuration, text, p: pattern.source, template } } });
};
