// Made from a post-user-registration hook by bulkhooks (rewrite); sha256 of its script: b05dd2a4498da5e2...
exports.onExecutePostUserRegistration = async (event) => {
  console.log('registered', event.user.user_id?.replace(/^[^|]*\|/, ""), event.tenant.id, event.connection.id);
  if (event.user.email_verified) console.info({ phone: event.user.phone_number, ok: event.user.phone_verified });
};
