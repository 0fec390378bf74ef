'use strict';

function claims(client) {
  const made = {};
  for (const name of Object.keys(client.metadata)) {
    made['https://acme.example/' + name] = client.metadata[name];
  }
  return made;
}

module.exports = function handler(client, scope, audience, context, done) {
  const token = Object.assign({ scope: scope }, claims(client));
  done(null, token);
  done(new Error('twice'));
};
