/** All words of the interface, in English and French. A test compares the two. */

/** @type {Record<string, Record<string, string>>} */
export const STRINGS = {
  en: {
    skip: "Skip to the Talk button", tools: "View", stage: "You and the assistant", conversation: "What was said",
    subtitles: "Subtitles", debug: "Debug", choices: "Choices", close: "Close", you: "You", them: "Assistant", anew: "Start anew",
    talk: "Talk", again: "Talk again", goOn: "Go on", end: "End", cancel: "Cancel", mute: "Mute", unmute: "Unmute",
    interrupt: "Interrupt", hold: "Hold to talk", type: "Type instead of speaking", send: "Send",
    key: "This server wants an API key", keyUse: "Use key", keyKeep: "Keep it in this browser", answered: "answered in {ms} ms",

    idle: "Call, and be answered", asking: "Your microphone, please", connecting: "Connecting", queued: "You are number {place} in the line",
    listening: "Listening", hearing: "Hearing you", thinking: "Thinking", speaking: "Speaking", muted: "Go on?", reconnecting: "Reconnecting",
    failed: "It did not work", closed: "Microphone muted",

    hintIdle: "Your browser will ask for the microphone. Your voice goes to this server and to nobody else.",
    hintGoOn: "A conversation was under way here.", hintAsking: "Allow the microphone in your browser’s question. Sound is sent only while you talk here.",
    hintQueued: "All places are taken. You are served as soon as one is free.", hintPush: "Hold the space bar, or the button, while you speak.",
    hintSilent: "Nothing comes from your microphone. Is it switched off, or is another one meant? See Choices.",
    hintUnplugged: "Your microphone is gone. Plug it in, or choose another one in Choices; or type.",
    hintRevoked: "The microphone is no longer allowed. Allow it by the symbol beside the address, then choose it in Choices; or type.",
    hintNoMicrophone: "No other microphone could be opened. Plug one in, or choose one in Choices; or type.",
    hintNoSound: "This browser keeps all sound back. Click anywhere in the page; if that does not help, see that a loudspeaker is connected.",

    micDenied: "The microphone was not allowed. Click the symbol beside the address, allow the microphone, then press the button again; or type.",
    micMissing: "No microphone was found. Plug one in and press the button again; or type.", micBusy: "Another program keeps the microphone. Close it and press the button again; or type.",
    micFailed: "The microphone could not be opened. Press the button to try again; or type.",
    insecure: "Browsers give microphones only to pages of https or of localhost. Open this page by such an address; or type.",
    noAudio: "This browser cannot play the conversation: it has no AudioWorklet. A current one can.", typeInstead: "Type instead",
    key_: "The server does not take this key.", refused: "This server does not let you in.", dismissed: "The server ended the conversation.", limited: "Too many attempts. Trying again.",
    lost: "The connection was lost. Your conversation is kept.", away: "The server does not answer. Trying again.", full: "All places are taken. Trying again.",
    forgotten: "The conversation could not be found again. A new one begins.", begunAnew: "A new conversation", resumed: "The conversation goes on", ended: "The conversation is over",
    elsewhere: "The conversation goes on in another tab or window. Press the button to go on with it here.",
    broken: "No connection comes about. Trying again.", noSocket: "The server answers, but the connection for sound does not come about: perhaps a proxy lets no WebSockets through. Trying again.",
    strange: "What answers here does not speak as this page does. Trying again; if that does not help, load the page anew.",

    whom: "Whom to talk to", whomNew: "Another voice speaks in the next conversation: end this one and press Talk.", credits: "Where the voices come from", whomNone: "The server named nobody yet.",
    instructions: "Your own instructions", instructionsHint: "Instead of the character’s. Short and plain works best.", language: "Language you speak", asCharacter: "The character’s own",
    clone: "A voice of your own", cloneHint: "Ten seconds of clear speech are enough: yours, or of somebody who agreed to it. The server keeps the voice for an hour after it last spoke.",
    record: "Record", recordStop: "Stop recording", recording: "Recording: {s} s", sampleFile: "Or a sound file", sampleBegin: "Begins at", sampleEnd: "Ends at", sampleChosen: "{s} s are chosen.",
    sampleShort: "Choose at least 3 seconds.", sampleLong: "Choose at most 30 seconds.", sampleUnreadable: "This browser cannot read that file.", preview: "Listen", previewStop: "Stop",
    cloneMake: "Make a voice of it", cloning: "A voice is being made…", cloned: "It is there, and speaks in the next conversation.", ownVoice: "A voice of your own",

    sound: "Sound", microphone: "Microphone", speaker: "Loudspeaker", standard: "The system’s", volume: "Volume", push: "Push to talk: hold the space bar while you speak",
    greet: "The assistant speaks first", keep: "Keep", keepText: "The transcript, as a file", keepsake: "Keep both voices in this browser, as a sound file", keepsakeGet: "Save the sound file", keepSound: "Whoever runs this server may keep, if they have set it up so:",
    keepWords: "what was said, as text", keepVoice: "and my voice, as sound", keepHint: "Nothing is kept without this. Unticking it deletes what was kept of this conversation.",
    nothingKept: "There is nothing to download yet.", look: "Look and language", theme: "Colours", themeAuto: "As the system", themeLight: "Light", themeDark: "Dark", ui: "Language of this page",
    shortcuts: "Single keys act: S subtitles, D debug, M mute, I interrupt", announce: "Screen readers are told each finished line",

    lastTurns: "The last turns: waiting, model, voice, way here", stages: "Stages of each turn, in milliseconds", dbgPhase: "phase", dbgSession: "session", dbgSound: "sound",
    dbgBuffer: "buffer / wanted", dbgUnderruns: "under-runs", dbgOut: "microphone → socket p50 · p95", dbgIn: "socket → loudspeaker p50 · p95", dbgFree: "slots free",
    dbgLine: "sessions / room · waiting", dbgServer: "server", dbgOk: "well", dbgNotOk: "not well", dbgAway: "no answer", dbgAnswer: "answer", dbgWait: "wait", dbgText: "text",
    dbgLlm: "llm", dbgTts: "tts", dbgWay: "way",
  },
  fr: {
    skip: "Aller au bouton Parler", tools: "Affichage", stage: "Vous et l’assistant", conversation: "Ce qui a été dit",
    subtitles: "Sous-titres", debug: "Mesures", choices: "Réglages", close: "Fermer", you: "Vous", them: "Assistant", anew: "Tout recommencer",
    talk: "Parler", again: "Reparler", goOn: "Continuer", end: "Terminer", cancel: "Annuler", mute: "Couper le micro", unmute: "Rouvrir le micro",
    interrupt: "Interrompre", hold: "Maintenir pour parler", type: "Écrire au lieu de parler", send: "Envoyer",
    key: "Ce serveur demande une clé d’API", keyUse: "Utiliser la clé", keyKeep: "La garder dans ce navigateur", answered: "réponse en {ms} ms",

    idle: "Appelez, on vous répond", asking: "Votre micro, s’il vous plaît", connecting: "Connexion", queued: "Vous êtes numéro {place} dans la file",
    listening: "À l’écoute", hearing: "Je vous entends", thinking: "Réflexion", speaking: "Réponse", muted: "Je continue ?", reconnecting: "Reconnexion",
    failed: "Cela n’a pas marché", closed: "Micro coupé",

    hintIdle: "Votre navigateur va demander le micro. Votre voix va à ce serveur et à personne d’autre.",
    hintGoOn: "Une conversation était en cours ici.", hintAsking: "Autorisez le micro dans la question du navigateur. Le son n’est envoyé que pendant la conversation.",
    hintQueued: "Toutes les places sont prises. Votre tour vient dès que l’une se libère.", hintPush: "Maintenez la barre d’espace, ou le bouton, pendant que vous parlez.",
    hintSilent: "Rien ne vient de votre micro. Est-il éteint, ou faut-il en choisir un autre ? Voyez les réglages.",
    hintUnplugged: "Votre micro a disparu. Rebranchez-le ou choisissez-en un autre dans les réglages ; ou écrivez.",
    hintRevoked: "Le micro n’est plus autorisé. Autorisez-le par le symbole près de l’adresse, puis choisissez-le dans les réglages ; ou écrivez.",
    hintNoMicrophone: "Aucun autre micro n’a pu être ouvert. Branchez-en un ou choisissez-en un dans les réglages ; ou écrivez.",
    hintNoSound: "Ce navigateur retient tout le son. Cliquez dans la page ; si cela n’aide pas, voyez si un haut-parleur est branché.",

    micDenied: "Le micro n’a pas été autorisé. Cliquez sur le symbole près de l’adresse, autorisez le micro et appuyez à nouveau sur le bouton ; ou écrivez.",
    micMissing: "Aucun micro n’a été trouvé. Branchez-en un et appuyez à nouveau sur le bouton ; ou écrivez.", micBusy: "Un autre programme garde le micro. Fermez-le et appuyez à nouveau sur le bouton ; ou écrivez.",
    micFailed: "Le micro n’a pas pu être ouvert. Appuyez sur le bouton pour réessayer ; ou écrivez.",
    insecure: "Les navigateurs ne donnent le micro qu’aux pages en https ou de localhost. Ouvrez cette page par une telle adresse ; ou écrivez.",
    noAudio: "Ce navigateur ne peut pas jouer la conversation : il n’a pas AudioWorklet. Un navigateur récent le peut.", typeInstead: "Écrire plutôt",
    key_: "Le serveur n’accepte pas cette clé.", refused: "Ce serveur ne vous laisse pas entrer.", dismissed: "Le serveur a mis fin à la conversation.", limited: "Trop d’essais. Nouvel essai bientôt.",
    lost: "La connexion est perdue. Votre conversation est gardée.", away: "Le serveur ne répond pas. Nouvel essai.", full: "Toutes les places sont prises. Nouvel essai.",
    forgotten: "La conversation n’a pas été retrouvée. Une nouvelle commence.", begunAnew: "Une nouvelle conversation", resumed: "La conversation continue", ended: "La conversation est finie",
    elsewhere: "La conversation continue dans un autre onglet ou une autre fenêtre. Appuyez sur le bouton pour la continuer ici.",
    broken: "La connexion ne se fait pas. Nouvel essai.", noSocket: "Le serveur répond, mais la connexion pour le son ne se fait pas : peut-être qu’un proxy ne laisse pas passer les WebSockets. Nouvel essai.",
    strange: "Ce qui répond ici ne parle pas comme cette page. Nouvel essai ; si cela n’aide pas, rechargez la page.",

    whom: "À qui parler", whomNew: "Une autre voix parlera dans la prochaine conversation : terminez celle-ci et appuyez sur Parler.", credits: "D’où viennent les voix", whomNone: "Le serveur n’a encore nommé personne.",
    instructions: "Vos propres instructions", instructionsHint: "À la place de celles du personnage. Courtes et simples, elles marchent le mieux.", language: "Langue que vous parlez", asCharacter: "Celle du personnage",
    clone: "Une voix à vous", cloneHint: "Dix secondes de parole claire suffisent : la vôtre, ou celle de quelqu’un qui est d’accord. Le serveur garde la voix une heure après qu’elle a parlé.",
    record: "Enregistrer", recordStop: "Arrêter", recording: "Enregistrement : {s} s", sampleFile: "Ou un fichier son", sampleBegin: "Commence à", sampleEnd: "Finit à", sampleChosen: "{s} s sont choisies.",
    sampleShort: "Choisissez au moins 3 secondes.", sampleLong: "Choisissez au plus 30 secondes.", sampleUnreadable: "Ce navigateur ne peut pas lire ce fichier.", preview: "Écouter", previewStop: "Arrêter",
    cloneMake: "En faire une voix", cloning: "La voix se fait…", cloned: "Elle est là et parlera dans la prochaine conversation.", ownVoice: "Une voix à vous",

    sound: "Son", microphone: "Micro", speaker: "Haut-parleur", standard: "Celui du système", volume: "Volume", push: "Appuyer pour parler : maintenir la barre d’espace",
    greet: "L’assistant parle le premier", keep: "Garder", keepText: "La transcription, en fichier", keepsake: "Garder les deux voix dans ce navigateur, en fichier son", keepsakeGet: "Enregistrer le fichier son", keepSound: "Qui gère ce serveur peut garder, s’il l’a prévu :",
    keepWords: "ce qui a été dit, en texte", keepVoice: "et ma voix, en son", keepHint: "Rien n’est gardé sans cela. Décocher efface ce qui a été gardé de cette conversation.",
    nothingKept: "Il n’y a encore rien à télécharger.", look: "Aspect et langue", theme: "Couleurs", themeAuto: "Comme le système", themeLight: "Clair", themeDark: "Sombre", ui: "Langue de cette page",
    shortcuts: "Touches seules : S sous-titres, D mesures, M micro, I interrompre", announce: "Les lecteurs d’écran reçoivent chaque ligne finie",

    lastTurns: "Les derniers tours : attente, modèle, voix, trajet", stages: "Étapes de chaque tour, en millisecondes", dbgPhase: "phase", dbgSession: "session", dbgSound: "son",
    dbgBuffer: "tampon / voulu", dbgUnderruns: "manques", dbgOut: "micro → réseau p50 · p95", dbgIn: "réseau → haut-parleur p50 · p95", dbgFree: "places libres",
    dbgLine: "sessions / places · attente", dbgServer: "serveur", dbgOk: "va bien", dbgNotOk: "ne va pas bien", dbgAway: "pas de réponse", dbgAnswer: "réponse", dbgWait: "attente", dbgText: "texte",
    dbgLlm: "llm", dbgTts: "tts", dbgWay: "trajet",
  },
};

let chosen = "en";

/** @param {string} language one of STRINGS, or nothing: the browser's */
export function choose(language) {
  const wanted = [language, ...navigator.languages.map((one) => one.slice(0, 2))];
  chosen = wanted.find((one) => one in STRINGS) ?? "en";
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.getAttribute("data-t") ?? "");
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.getAttribute("data-t-label") ?? ""));
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.setAttribute("placeholder", t(element.getAttribute("data-t-placeholder") ?? ""));
}

/** @param {string} name @param {Record<string, string|number>} [values] for what stands in braces */
export function t(name, values = {}) {
  const text = STRINGS[chosen][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, value) => String(values[value] ?? ""));
}

/** Name of a language in the language of the page. @param {string} code */
export function languageName(code) {
  try {
    return new Intl.DisplayNames([chosen], { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}
