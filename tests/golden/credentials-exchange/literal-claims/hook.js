module.exports = (client, scope, audience, context, cb) => {
  return cb(null, { scope, 'https://acme.example/name': client.name, "https://acme.example/none": undefined, "https://acme.example/n": 7 });
};
