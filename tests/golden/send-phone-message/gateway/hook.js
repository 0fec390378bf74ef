const axios = require('axios@0.27.2');
module.exports = async (to, message, ctx, done) => {
  const body = { to, message, code: ctx.code, ip: ctx.ip, agent: ctx.user_agent, quiet: ctx.user.user_metadata.quiet };
  const { status } = await axios.post(ctx.webtask.secrets.API_URL, body);
  done(status === 200 ? null : new Error('status ' + status));
};
