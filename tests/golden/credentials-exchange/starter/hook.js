/**
@param {object} client - client information
@param {array|undefined} scope - the token's scope claim
@param {function} cb - function (error, accessTokenClaims)
*/
module.exports = function(client, scope, audience, context, cb) {
  var access_token = {};
  access_token.scope = scope; // do not remove this line
  access_token['https://acme.example/plan'] = client.metadata.plan;
  access_token['https://acme.example/tenant'] = client.tenant;
  cb(null, access_token);
};
