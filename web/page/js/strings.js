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

    hintIdle: "Your browser will ask for the microphone. Your voice goes to this server and to nobody else, and nothing is recorded unless you allow it.",
    hintGoOn: "A conversation was under way here.", hintAsking: "Allow the microphone in your browser’s question. Sound is sent only while you talk here.",
    hintQueued: "All places are taken. You are served as soon as one is free.", hintPush: "Hold the space bar, or the button, while you speak.",
    hintSilent: "Nothing comes from your microphone. Is it switched off, or is another one meant? See Choices.",
    hintUnplugged: "Your microphone is gone. Plug it in, or choose another one in Choices; or type.",
    hintRevoked: "The microphone is no longer allowed. Allow it by the symbol beside the address; or type.",
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
    connected: "Connected", opened: "Microphone open", cutShort: "{name}, interrupted: {text}", spoke: "{name}: {text}", hintClosed: "You are not heard. Open the microphone again, or type.",
    subtitlesOn: "Subtitles shown", subtitlesOff: "Subtitles hidden",
    elsewhere: "The conversation goes on in another tab or window. Press the button to go on with it here.",
    broken: "No connection comes about. Trying again.", noSocket: "The server answers, but the connection for sound does not come about: perhaps a proxy lets no WebSockets through. Trying again.",
    strange: "What answers here does not speak as this page does. Trying again; if that does not help, load the page anew.",

    farewell: "Keep this conversation", farewellHint: "The server still has it for two minutes; then only these files do.", fileText: "Text", fileJson: "JSON", fileSrt: "SRT", somebodyElse: "Talk to somebody else",
    whomShort: "Whom", soundShort: "Sound", keepShort: "Keeping", lookShort: "This page",

    whom: "Whom to talk to", whomNew: "Another voice speaks in the next conversation: end this one and press Talk.", credits: "Where the voices come from", whomNone: "This server names nobody to talk to yet. Press Talk all the same: somebody will answer.",
    instructions: "Your own instructions", instructionsHint: "They take the place of the character’s, from the next conversation on. Short and plain works best.", language: "Language you speak", asCharacter: "The character’s own",
    clone: "A voice of your own", cloneHint: "Ten seconds of clear speech are enough: yours, or of somebody who agreed to it. The server keeps the voice for an hour after it last spoke.",
    record: "Record", recordStop: "Stop recording", recording: "Recording: {s} s", sampleFile: "Or a sound file", sampleBegin: "Begins at", sampleEnd: "Ends at", sampleChosen: "{s} s are chosen.",
    sampleShort: "Choose at least 3 seconds.", sampleLong: "Choose at most 30 seconds.", sampleUnreadable: "This browser cannot read that file.",
    keepsakeFailed: "This browser could not go on recording. What was recorded until now can be saved.", preview: "Listen", previewStop: "Stop",
    cloneMake: "Make a voice of it", cloning: "A voice is being made…", cloned: "It is there, and speaks in the next conversation.", ownVoice: "A voice of your own",

    sound: "Sound and speaking", microphone: "Microphone", speaker: "Loudspeaker", standard: "The system’s", volume: "Volume",
    percent: "{n} %", pushHint: "You are heard only while you hold the space bar, or the button. Without it the assistant notices by itself when you have finished.",
    greetHint: "Otherwise it waits for your first words.", keepLead: "Of what is said nothing stays anywhere: the server forgets it two minutes after the end. Unless you wish otherwise:",
    keepsakeHint: "The file stays in this browser until you save it or leave the page. Nobody else gets it.", consent: "May this server store it?",
    keepWordsHint: "Both sides, until whoever runs the server deletes it.", keepVoiceHint: "Only together with the text.",
    shortcutsHint: "S subtitles, D debug, M mute, I interrupt. They act where nobody types.", announceHint: "Each line once, when it is complete.", push: "Push to talk",
    greet: "The assistant speaks first", keep: "What is kept", keepText: "Files of this conversation", keepsake: "Keep both voices in this browser, as a sound file", keepsakeGet: "Save the sound file", keepSound: "Whoever runs this server may have set up recording. Only what you tick here may be stored there, and only from then on:",
    keepWords: "What was said, as text", keepVoice: "And my voice, as sound", keepHint: "Unticking deletes what was stored of this conversation. You are asked again each time this page is opened.",
    nothingKept: "There is nothing to download yet.", look: "This page", theme: "Colours", themeAuto: "As the system", themeLight: "Light", themeDark: "Dark", ui: "Language of this page",
    shortcuts: "Single keys", announce: "Read lines aloud to screen readers",

    dbgChart: "From your last word to the answer", dbgSummary: "Last turn {last}, median {half} of the last {n}.", dbgNoTurns: "No turn was answered yet.",
    "part-wait": "Taking the turn", "part-wait-what": "until it is certain that you have finished", "part-llm": "First word", "part-llm-what": "until the language model has one",
    "part-tts": "First sound", "part-tts-what": "until the voice has spoken it", "part-way": "Way to you", "part-way-what": "network and buffer, until it is heard",
    dbgTalk: "This conversation", dbgPhase: "Phase", dbgSession: "Session", dbgServerHead: "Server", dbgServer: "Health", dbgOk: "well", dbgNotOk: "not well", dbgAway: "no answer",
    dbgFree: "{stage}: places free", dbgStt: "Hearing (stt)", dbgLlm: "Thinking (llm)", dbgTts: "Speaking (tts)", dbgOf: "{n} of {all}", dbgSessions: "Conversations", dbgWaiting: "Waiting in line",
    dbgSoundHead: "Sound in this browser", dbgSound: "Travels as", dbgOut: "Microphone to network", dbgIn: "Network to loudspeaker", dbgBoth: "{half}, p95 {most}",
    dbgBuffer: "Waits to be heard", dbgWanted: "{n} of {all} wanted", dbgUnderruns: "Gaps heard (under-runs)",
    stages: "All turns, in milliseconds", dbgAnswer: "Answer", dbgAnswerTitle: "From the end of your voice until the answer is heard", dbgWait: "Turn", dbgWaitTitle: "From the end of your voice until an answer is asked for",
    dbgText: "Text", dbgTextTitle: "From the end of your voice until your words are here as text", dbgModel: "Model", dbgModelTitle: "The server’s own figure: until the language model’s first word",
    dbgVoice: "Voice", dbgVoiceTitle: "The server’s own figure: from the first word to the first sound", dbgWay: "Way", dbgWayTitle: "From the first sound’s arrival until it is heard",
    dbgOwn: "Model and Voice are the server’s own figures; the others were taken in this browser.",
  },
  fr: {
    skip: "Aller au bouton Parler", tools: "Affichage", stage: "Vous et l’assistant", conversation: "Ce qui a été dit",
    subtitles: "Sous-titres", debug: "Mesures", choices: "Réglages", close: "Fermer", you: "Vous", them: "Assistant", anew: "Tout recommencer",
    talk: "Parler", again: "Reparler", goOn: "Reprendre", end: "Terminer", cancel: "Annuler", mute: "Couper le micro", unmute: "Rouvrir le micro",
    interrupt: "Interrompre", hold: "Maintenir pour parler", type: "Écrire au lieu de parler", send: "Envoyer",
    key: "Ce serveur demande une clé d’API", keyUse: "Utiliser la clé", keyKeep: "La garder dans ce navigateur", answered: "réponse en {ms} ms",

    idle: "Appelez, on vous répond", asking: "Votre micro, s’il vous plaît", connecting: "Connexion en cours", queued: "Vous êtes numéro {place} dans la file",
    listening: "Je vous écoute", hearing: "Je vous entends", thinking: "Je réfléchis", speaking: "Je réponds", muted: "Je continue ?", reconnecting: "Reconnexion en cours",
    failed: "Cela n’a pas marché", closed: "Micro coupé",

    hintIdle: "Votre navigateur va demander le micro. Votre voix va à ce serveur et à personne d’autre, et rien n’est enregistré sans votre accord.",
    hintGoOn: "Une conversation était en cours ici.", hintAsking: "Autorisez le micro dans la question du navigateur. Le son n’est envoyé que pendant la conversation.",
    hintQueued: "Toutes les places sont prises. Votre tour vient dès que l’une se libère.", hintPush: "Maintenez la barre d’espace, ou le bouton, pendant que vous parlez.",
    hintSilent: "Rien ne vient de votre micro. Est-il éteint, ou faut-il en choisir un autre ? Voyez les réglages.",
    hintUnplugged: "Votre micro a disparu. Rebranchez-le ou choisissez-en un autre dans les réglages ; ou écrivez.",
    hintRevoked: "Le micro n’est plus autorisé. Autorisez-le par le symbole près de l’adresse ; ou écrivez.",
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
    connected: "Connecté", opened: "Micro ouvert", cutShort: "{name}, interrompu : {text}", spoke: "{name} : {text}", hintClosed: "On ne vous entend pas. Rouvrez le micro, ou écrivez.",
    subtitlesOn: "Sous-titres affichés", subtitlesOff: "Sous-titres masqués",

    farewell: "Garder cette conversation", farewellHint: "Le serveur l’a encore pendant deux minutes ; ensuite, seuls ces fichiers l’auront.", fileText: "Texte", fileJson: "JSON", fileSrt: "SRT", somebodyElse: "Parler à quelqu’un d’autre",
    whomShort: "À qui", soundShort: "Son", keepShort: "Garder", lookShort: "Cette page",

    whom: "À qui parler", whomNew: "Une autre voix parlera dans la prochaine conversation : terminez celle-ci et appuyez sur Parler.", credits: "D’où viennent les voix", whomNone: "Ce serveur ne nomme encore personne. Appuyez quand même sur Parler : on vous répondra.",
    instructions: "Vos propres instructions", instructionsHint: "Elles remplacent celles du personnage, dès la prochaine conversation. Courtes et simples, elles marchent mieux.", language: "Langue que vous parlez", asCharacter: "Celle du personnage",
    clone: "Une voix à vous", cloneHint: "Dix secondes de parole claire suffisent : la vôtre, ou celle de quelqu’un qui est d’accord. Le serveur garde la voix une heure après la dernière fois qu’elle a parlé.",
    record: "Enregistrer", recordStop: "Arrêter", recording: "Enregistrement : {s} s", sampleFile: "Ou un fichier son", sampleBegin: "Commence à", sampleEnd: "Finit à", sampleChosen: "{s} s sont choisies.",
    sampleShort: "Choisissez au moins 3 secondes.", sampleLong: "Choisissez au plus 30 secondes.", sampleUnreadable: "Ce navigateur ne peut pas lire ce fichier.",
    keepsakeFailed: "Ce navigateur n’a pas pu continuer l’enregistrement. Ce qui a été enregistré peut être gardé.", preview: "Écouter", previewStop: "Arrêter",
    cloneMake: "En faire une voix", cloning: "La voix se fait…", cloned: "Elle est là et parlera dans la prochaine conversation.", ownVoice: "Une voix à vous",

    sound: "Son et parole", microphone: "Micro", speaker: "Haut-parleur", standard: "Celui du système", volume: "Volume",
    percent: "{n} %", pushHint: "On ne vous entend que tant que vous maintenez la barre d’espace, ou le bouton. Sinon, l’assistant remarque de lui-même que vous avez fini.",
    greetHint: "Sinon, il attend vos premiers mots.", keepLead: "De ce qui est dit, rien ne reste nulle part : le serveur l’oublie deux minutes après la fin. Sauf si vous le voulez :",
    keepsakeHint: "Le fichier reste dans ce navigateur jusqu’à ce que vous l’enregistriez ou quittiez la page. Personne d’autre ne l’a.", consent: "Ce serveur peut-il le conserver ?",
    keepWordsHint: "Les deux côtés, jusqu’à ce que l’exploitant du serveur l’efface.", keepVoiceHint: "Seulement avec le texte.",
    shortcutsHint: "S sous-titres, D mesures, M micro, I interrompre. Elles agissent là où l’on n’écrit pas.", announceHint: "Chaque ligne une fois, dès qu’elle est complète.", push: "Appuyer pour parler",
    greet: "L’assistant parle le premier", keep: "Ce qui est gardé", keepText: "Fichiers de cette conversation", keepsake: "Garder les deux voix dans ce navigateur, en fichier son", keepsakeGet: "Enregistrer le fichier son", keepSound: "L’exploitant de ce serveur a pu prévoir des enregistrements. N’y sera conservé que ce que vous cochez ici, et seulement à partir de ce moment :",
    keepWords: "Ce qui a été dit, en texte", keepVoice: "Et ma voix, en son", keepHint: "Décocher efface ce qui a été conservé de cette conversation. La question vous est reposée à chaque ouverture de cette page.",
    nothingKept: "Il n’y a encore rien à télécharger.", look: "Cette page", theme: "Couleurs", themeAuto: "Comme le système", themeLight: "Clair", themeDark: "Sombre", ui: "Langue de cette page",
    shortcuts: "Touches simples", announce: "Lire les lignes aux lecteurs d’écran",

    dbgChart: "De votre dernier mot à la réponse", dbgSummary: "Dernier tour {last}, médiane {half} des {n} derniers.", dbgNoTurns: "Aucun tour n’a encore eu de réponse.",
    "part-wait": "Prise de parole", "part-wait-what": "jusqu’à être sûr que vous avez fini", "part-llm": "Premier mot", "part-llm-what": "jusqu’à ce que le modèle de langue en ait un",
    "part-tts": "Premier son", "part-tts-what": "jusqu’à ce que la voix le dise", "part-way": "Trajet", "part-way-what": "réseau et tampon, jusqu’à ce qu’on l’entende",
    dbgTalk: "Cette conversation", dbgPhase: "Phase", dbgSession: "Session", dbgServerHead: "Serveur", dbgServer: "Santé", dbgOk: "bonne", dbgNotOk: "mauvaise", dbgAway: "pas de réponse",
    dbgFree: "{stage} : places libres", dbgStt: "Écoute (stt)", dbgLlm: "Réflexion (llm)", dbgTts: "Parole (tts)", dbgOf: "{n} sur {all}", dbgSessions: "Conversations", dbgWaiting: "Dans la file",
    dbgSoundHead: "Son dans ce navigateur", dbgSound: "Voyage en", dbgOut: "Du micro au réseau", dbgIn: "Du réseau au haut-parleur", dbgBoth: "{half}, p95 {most}",
    dbgBuffer: "Attend d’être entendu", dbgWanted: "{n} sur {all} voulues", dbgUnderruns: "Trous entendus (manques)",
    stages: "Tous les tours, en millisecondes", dbgAnswer: "Réponse", dbgAnswerTitle: "De la fin de votre voix jusqu’à ce que la réponse s’entende", dbgWait: "Tour", dbgWaitTitle: "De la fin de votre voix jusqu’à la demande d’une réponse",
    dbgText: "Texte", dbgTextTitle: "De la fin de votre voix jusqu’à l’arrivée de vos mots en texte", dbgModel: "Modèle", dbgModelTitle: "Chiffre du serveur : jusqu’au premier mot du modèle de langue",
    dbgVoice: "Voix", dbgVoiceTitle: "Chiffre du serveur : du premier mot au premier son", dbgWay: "Trajet", dbgWayTitle: "De l’arrivée du premier son jusqu’à ce qu’il s’entende",
    dbgOwn: "Modèle et Voix sont des chiffres du serveur ; les autres ont été pris dans ce navigateur.",
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
  return typeset(text, chosen).replace(/\{(\w+)\}/g, (_, value) => String(values[value] ?? ""));
}

/** In French high signs keep to their word, by no-break spaces, which nobody sees in a source. @param {string} text @param {string} language */
export function typeset(text, language) {
  return language === "fr" ? text.replace(/ ([:%»])/g, "\u00a0$1").replace(/ ([;!?])/g, "\u202f$1") : text;
}

/** Name of a language in the language of the page. @param {string} code */
export function languageName(code) {
  try {
    return new Intl.DisplayNames([chosen], { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}
